"""HTTP: routes, bodies, problems and views. It turns words into requests and answers into words."""
