"""What the servers here share: a free loopback port, told to the starter through a file."""

import os


def publish(port_file, port):
    """Writes the port once the server answers: under another name first, so never by halves."""
    part = f"{port_file}.part"
    with open(part, "w", encoding="ascii") as file:
        file.write(f"{port}\n")
    os.replace(part, port_file)
