"""An invented provider's help centre, resolved tickets and questions that were held out."""
