"""What two applications need, or what is the fine-tuning core; knows no application."""
