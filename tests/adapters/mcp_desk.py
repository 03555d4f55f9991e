"""An MCP server with one tool, which leaves a mark for each booking. Over stdio, or with a port over HTTP."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer

desk = MCPServer("desk")


@desk.tool()
def book(room: int) -> str:
    """Book a room."""
    with (Path(os.environ["LAB_FOLDER"]) / "marks").open("a") as file:
        file.write(f"book {room}\n")
    return f"room {room} is booked"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        desk.run("streamable-http", port=int(sys.argv[1]))
    else:
        desk.run()
