    (:account::text IS NULL OR p.account_type = :account)
    AND CASE :removed::text WHEN 'false' THEN p.removed_at IS NULL WHEN 'true' THEN p.removed_at IS NOT NULL ELSE true END
    AND (:status::int IS NULL OR p.status = :status)
    AND CASE :sellable::text
        WHEN 'true' THEN p.is_sellable WHEN 'false' THEN NOT p.is_sellable WHEN 'unknown' THEN p.is_sellable IS NULL
        ELSE true
    END
    AND CASE :in_stock::boolean WHEN true THEN p.general_stock > 0 WHEN false THEN p.general_stock <= 0 ELSE true END
    AND (:validation_status::int IS NULL OR p.validation_status = :validation_status)
    AND CASE :buy_button::text
        WHEN 'won' THEN p.buy_button_rank = 1 WHEN 'lost' THEN p.buy_button_rank > 1
        WHEN 'none' THEN p.buy_button_rank IS NULL ELSE true
    END
    AND CASE :obstacle::text
        WHEN 'stock' THEN NOT p.is_sellable AND p.general_stock <= 0
        WHEN 'status' THEN NOT p.is_sellable AND p.status <> 1
        WHEN 'price' THEN NOT p.is_sellable AND p.offer_validation_status <> :saleable
        WHEN 'validation' THEN NOT p.is_sellable AND p.validation_status <> ALL (:selling_validation::int[])
        WHEN 'translation' THEN NOT p.is_sellable
            AND p.translation_validation_status <> ALL (:selling_translation::int[])
            AND coalesce(p.general_stock, 1) > 0
            AND coalesce(p.status, 1) = 1
            AND coalesce(p.offer_validation_status, :saleable) = :saleable
            AND coalesce(p.validation_status = ANY (:selling_validation::int[]), true)
        ELSE true
    END
    AND (
        :term::text IS NULL
        OR (
            (:first_word::text IS NULL OR p.name ILIKE :first_word)
            AND (:second_word::text IS NULL OR p.name ILIKE :second_word)
            AND p.name ILIKE ALL (:more_words::text[])
            AND (:first_beginning::text IS NULL OR p.name ~* :first_beginning)
            AND p.name ~* ALL (:more_beginnings::text[])
        )
        OR p.part_number ILIKE :part
        OR p.part_number_key ILIKE :part
        OR p.ean @> ARRAY[:term]
    )
