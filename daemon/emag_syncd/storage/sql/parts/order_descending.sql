k.words DESC, k.number DESC, k.moment DESC, p.account_type DESC, p.emag_id DESC
