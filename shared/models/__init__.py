"""What serving needs of a fine-tuned model, without torch."""
