coalesce(k.words, k.number::text, k.moment::text) AS place
