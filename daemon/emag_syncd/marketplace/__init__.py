"""The marketplace's API: asking at its pace, understanding what it answers, decoding offers."""
