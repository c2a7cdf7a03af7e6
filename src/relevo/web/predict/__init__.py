"""The predict endpoints: reading and parsing the body, calling the model, writing the response."""
