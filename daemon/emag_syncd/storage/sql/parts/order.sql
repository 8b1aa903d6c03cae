k.words, k.number, k.moment, p.account_type, p.emag_id
