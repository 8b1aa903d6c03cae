CROSS JOIN LATERAL (
    SELECT
        CASE :key::text
            WHEN 'name' THEN coalesce(p.name, '')
            WHEN 'part_number' THEN coalesce(p.part_number, '')
            WHEN 'brand' THEN coalesce(p.brand, '')
        END AS words,
        CASE :key::text
            WHEN 'sale_price' THEN coalesce(p.sale_price, '-infinity')
            WHEN 'general_stock' THEN coalesce(p.general_stock::numeric, '-infinity')
            WHEN 'buy_button_rank' THEN coalesce(p.buy_button_rank::numeric, '-infinity')
        END AS number,
        CASE :key::text WHEN 'updated_at' THEN p.updated_at WHEN 'first_seen_at' THEN p.first_seen_at END AS moment
) AS k
