"""Reading of people's files: lines, columns and formats, in limited memory."""
