CASE
        WHEN :after_id::bigint IS NULL THEN true
        WHEN :kind::text = 'words' THEN (k.words, p.account_type, p.emag_id) /* beyond */ (:after_value::text, :after_account, :after_id)
        WHEN :kind::text = 'number'
            THEN (k.number, p.account_type, p.emag_id) /* beyond */ (:after_value::text::numeric, :after_account, :after_id)
        WHEN :kind::text = 'moment'
            THEN (k.moment, p.account_type, p.emag_id) /* beyond */ (:after_value::text::timestamptz, :after_account, :after_id)
        ELSE (p.account_type, p.emag_id) /* beyond */ (:after_account, :after_id)
    END
