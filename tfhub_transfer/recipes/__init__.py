"""Ways to better models beyond fine-tuning: each its own, none knowing another."""
