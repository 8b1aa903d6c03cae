    p.account_type, p.emag_id, p.part_number, p.part_number_key, p.name, p.brand, p.category_id,
    p.vendor_category_id, p.status, p.sale_price, p.recommended_price, p.min_sale_price, p.max_sale_price,
    p.best_offer_sale_price, p.best_offer_recommended_price, p.currency, p.vat_id, p.warranty,
    p.general_stock, p.estimated_stock, p.ean, p.number_of_offers, p.buy_button_rank, p.ownership,
    p.validation_status, p.translation_validation_status, p.offer_validation_status, p.is_sellable,
    p.main_image_url, p.first_seen_at, p.updated_at, p.removed_at
