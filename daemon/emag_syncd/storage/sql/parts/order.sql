k.words/* direction */, k.number/* direction */, k.moment/* direction */, p.account_type/* direction */, p.emag_id/* direction */
