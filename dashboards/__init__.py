"""The Streamlit application; holds no model and opens no database."""
