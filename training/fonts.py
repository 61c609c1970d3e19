"""The typefaces that training pictures are set in: which, from which Debian package, and which are held out.

``python -m training.fonts`` collects them from the system's fonts into a small folder (glyphs reduced to ASCII and a
few signs), so that a training machine needs none of the packages installed.
"""

import argparse
import random
from functools import cache, lru_cache
from pathlib import Path

from PIL import ImageFont

FOLDER = Path(__file__).resolve().parent.parent / ".fonts-train"
EXTRA_CHARACTERS = "£€°–—’“”•×"

# class -> file stems, of faces that have every character that is drawn but dashes and bullets at most. Capitals-only
# faces are apart: they would show "a" for a text that has "A".
TRAIN = {
    "sans": "DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSans-ExtraLight LiberationSans-Regular "
    "LiberationSans-Bold LiberationSans-Italic LiberationSans-BoldItalic OpenSans-Regular OpenSans-Bold "
    "OpenSans-Light OpenSans-Italic OpenSans-Semibold Roboto-Regular Roboto-Bold Roboto-Light Roboto-Italic "
    "Roboto-Black Roboto-Thin Lato-Regular Lato-Bold Lato-Light Lato-Italic Lato-Black Lato-Hairline Inter-Regular "
    "Inter-Bold Inter-Light Inter-Black Inter-Italic Inter-Thin Cabin-Regular Cabin-Bold Cabin-Italic Carlito-Regular "
    "Carlito-Bold Carlito-Italic PTS55F PTS75F PTS56F FreeSans FreeSansBold FreeSansOblique NimbusSans-Regular "
    "NimbusSans-Bold URWGothic-Book URWGothic-Demi Go-Regular Go-Bold B612-Regular B612-Bold osifont "
    "LinBiolinum_R LinBiolinum_RB Manrope-Regular Manrope-Bold Manrope-Light LeagueSpartan-Regular LeagueSpartan-Bold "
    "AveriaGWF-Regular AveriaGWF-Bold",
    "narrow": "DejaVuSansCondensed DejaVuSansCondensed-Bold LiberationSansNarrow-Regular LiberationSansNarrow-Bold "
    "RobotoCondensed-Regular RobotoCondensed-Bold RobotoCondensed-Light OpenSans-CondLight OpenSans-CondBold PTN57F "
    "PTN77F YanoneKaffeesatz-Regular YanoneKaffeesatz-Bold YanoneKaffeesatz-Light Dosis-Book Dosis-Medium Dosis-Bold "
    "Dosis-ExtraLight",
    "rounded": "Quicksand-Regular Quicksand-Bold Quicksand-Light Jura-Regular Jura-Bold Jura-Light ComicNeue-Regular "
    "ComicNeue-Bold Dosis-Light",
    "serif": "DejaVuSerif DejaVuSerif-Bold DejaVuSerif-Italic DejaVuSerifCondensed LiberationSerif-Regular "
    "LiberationSerif-Bold LiberationSerif-Italic LiberationSerif-BoldItalic EBGaramond12-Regular EBGaramond12-Italic "
    "EBGaramond08-Regular LinLibertine_R LinLibertine_RB LinLibertine_RI LinLibertine_DR "
    "OldStandard-Regular OldStandard-Italic OldStandard-Bold PTF55F PTF75F PTF56F FreeSerif FreeSerifBold "
    "FreeSerifItalic NimbusRoman-Regular NimbusRoman-Italic P052-Roman P052-Bold P052-Italic C059-Roman C059-Bold "
    "C059-Italic URWBookman-Light URWBookman-Demi GenBasR GenBasB GenBasI Quattrocento-Regular CharisSIL-Regular "
    "CharisSIL-Bold AveriaSerifGWF-Regular AveriaSerifGWF-Bold Vollkorn-Regular Vollkorn-Bold Vollkorn-Italic "
    "RobotoSlab-Regular RobotoSlab-Bold RobotoSlab-Light",
    "mono": "DejaVuSansMono DejaVuSansMono-Bold LiberationMono-Regular LiberationMono-Bold FreeMono FreeMonoBold "
    "NimbusMonoPS-Regular NimbusMonoPS-Bold Hack-Regular Hack-Bold Inconsolata Go-Mono Go-Mono-Bold PTM55F PTM75F "
    "mononoki-Regular mononoki-Bold B612Mono-Regular|Courier Prime|Courier Prime Bold|Courier Prime Sans",
    "display": "lobster LobsterTwo-Regular LobsterTwo-Bold Z003-MediumItalic LeagueSpartan-Black",
    "capitals": "BebasNeue-Regular BebasNeue-Bold BebasNeue-Book",
}
# Whole families that no training picture uses: the evaluation's "unseen fonts".
HELD_OUT = {
    "sans": "Cantarell-Regular Cantarell-Bold Karla-Regular Karla-Bold Play-Regular Play-Bold",
    "narrow": "NimbusSansNarrow-Regular NimbusSansNarrow-Bold",
    "rounded": "Comfortaa-Regular Comfortaa-Bold",
    "serif": "Caladea-Regular Caladea-Bold Caladea-Italic GenBkBasR GenBkBasB",
    "mono": "JetBrainsMono-Regular JetBrainsMono-Bold",
}


def _stems(text: str) -> list[str]:
    first, *rest = text.split("|")
    return first.split() + rest


@lru_cache(maxsize=1)
def files() -> dict[str, Path]:
    """Font files by stem: the collected folder's, where there is one, otherwise the system's."""
    for roots in ([FOLDER], [Path("/usr/share/fonts"), Path("/usr/local/share/fonts")]):
        found = {p.stem: p for root in roots for p in sorted(root.rglob("*")) if p.suffix.lower() in (".ttf", ".otf")}
        if found:
            return found
    return {}


@lru_cache(maxsize=2)
def faces(held_out: bool = False) -> dict[str, list[Path]]:
    """The installed faces of each class."""
    table = HELD_OUT if held_out else TRAIN
    out = {k: [files()[s] for s in _stems(v) if s in files()] for k, v in table.items()}
    out = {k: v for k, v in out.items() if v}
    return out or {"sans": [Path()]}  # the face built into Pillow: enough for a smoke test


def wanted(held_out: bool = False) -> list[str]:
    """The stems of the faces that the preview model was trained with, or is tested with."""
    return [stem for stems in (HELD_OUT if held_out else TRAIN).values() for stem in _stems(stems)]


def installed(held_out: bool = False) -> str:
    """How many of them there are: `46 of 165`."""
    return f"{sum(stem in files() for stem in wanted(held_out))} of {len(wanted(held_out))}"


# Plain faces are what most people's pictures use; the odd ones are there for robustness.
CLASS_WEIGHTS = {"sans": 10, "serif": 6, "mono": 2.5, "narrow": 2.5, "rounded": 1.6, "display": 0.5, "capitals": 0.5}


def choose(rng: random.Random, classes: str = "", upper: bool = False, held_out: bool = False) -> str:
    """Path of a random face, of one of the space-separated classes if any are given."""
    table = faces(held_out)
    names = [c for c in (classes.split() or table) if c in table] or list(table)
    if not upper and len(names) > 1:
        names = [c for c in names if c != "capitals"]
    name = rng.choices(names, [CLASS_WEIGHTS[c] for c in names])[0]
    return str(rng.choice(table[name]))


@lru_cache(maxsize=3000)
def load(path: str, px: int) -> ImageFont.FreeTypeFont:
    """A face at a pixel size (basic layout: advances add up, so every glyph's place is known)."""
    if path == ".":
        return ImageFont.load_default(px)
    return ImageFont.truetype(path, px, layout_engine=ImageFont.Layout.BASIC)


@cache
def widths(path: object, px: float) -> dict[str, float]:
    """The known widths of a face's characters at a size. (Faces come and go in memory, so their `id` would not do.)"""
    return {}


def collect(folder: Path) -> int:
    """Write the faces, reduced to the characters that are used, into ``folder``; returns the number of bytes."""
    from fontTools import subset

    text = "".join(map(chr, range(32, 127))) + EXTRA_CHARACTERS
    total = 0
    for stem in wanted() + wanted(held_out=True):
        if stem not in files():
            continue
        options = subset.Options(layout_features=[], hinting=False, notdef_outline=True, drop_tables=["FFTM"])
        options.ignore_missing_unicodes = True
        font = subset.load_font(str(files()[stem]), options)
        job = subset.Subsetter(options)
        job.populate(text=text)
        job.subset(font)
        target = folder / f"{stem}{files()[stem].suffix}"
        subset.save_font(font, str(target), options)
        total += target.stat().st_size
    return total


def main() -> None:
    """Command line: collect the faces."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    missing = sorted({stem for stem in wanted() + wanted(held_out=True) if stem not in files()})
    total = collect(out)
    print(f"{len(list(out.iterdir()))} faces, {total / 2**20:.1f} MiB in {out}")
    if missing:
        print(f"{len(missing)} that the preview model was trained with are not installed: {', '.join(missing)}")


if __name__ == "__main__":
    main()
