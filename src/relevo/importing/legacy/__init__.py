"""Files of other times: a throw-away environment with the libraries that wrote them, asked there and spelled out in plain words."""
