"""Fine-tuning on the user's own files: tasks, their columns, recipes that need no thought, predictions."""
