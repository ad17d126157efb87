"""The options of `talk`."""

from pathlib import Path
from typing import Annotated

import typer

SoundFiles = Annotated[
    list[Path] | None, typer.Argument(help="Sound files to say.", metavar="[WAV]...")
]
Spoken = Annotated[
    str, typer.Option(help="Language that you speak; auto: any; en,fr: one of these.")
]
Wished = Annotated[str, typer.Option(help="Language to be heard; or several: es,fr.")]
Between = Annotated[str, typer.Option(help="Two ways, such as en:es.", metavar="A:B")]
Room = Annotated[str, typer.Option(help="Talk with whoever is in this room.")]
Name = Annotated[str, typer.Option(help="Your name, for the others in the room.")]
To = Annotated[list[str] | None, typer.Option(help="Ids of sessions that hear it.", metavar="LIST")]
Hears = Annotated[str, typer.Option(help="Language to hear others in, without a room.")]
Raw = Annotated[bool, typer.Option("--raw", help="Standard input is sound: 16-bit mono, 16 kHz.")]
Stay = Annotated[
    bool, typer.Option("--stay", help="Go on hearing others when the input has ended.")
]
Folder = Annotated[
    Path | None, typer.Option("--out", help="Folder for what is spoken.", metavar="DIR")
]
