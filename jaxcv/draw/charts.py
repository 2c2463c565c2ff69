"""Numbers as pictures: confusion matrices, learning curves, probabilities beside an image."""

import difflib

import numpy as np

from jaxcv.draw import picture
from jaxcv.draw.picture import text_width, write
from jaxcv.draw.sheet import fitted

FULL = (30, 90, 160)  # a cell that holds its whole row, a bar
LARGEST = 25  # number of classes whose names and counts are written


def confusion_matrix(counts, class_names):
    """What each class was taken for: a table of the counts, shaded by the share of their row.

    Args:
        counts: [K, K] numbers; row: the true class, column: the predicted one.
        class_names: K names. Beyond 25 classes names and counts are left out.

    Returns:
        uint8 [H, W, 3].
    """
    from PIL import Image

    counts = np.asarray(counts)
    K = len(class_names)
    if counts.shape != (K, K):
        raise ValueError(
            f"counts must be [{K}, {K}], a row and a column for each of class_names,"
            f" got {list(counts.shape)}."
        )
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shade = np.rint(255 + share[..., None] * (np.array(FULL) - 255)).astype(np.uint8)  # [K, K, 3]
    cell = 40 if K <= LARGEST else max(1, 800 // K)
    names = [picture.fit_text(name, 120) for name in class_names] if K <= LARGEST else []
    widest = max(map(text_width, names), default=0)
    margin = 36 + widest
    side = margin + K * cell + 8
    table = np.full((side, side, 3), picture.PAPER, np.uint8)
    cells = table[margin:, margin:][: K * cell, : K * cell]
    cells[:] = picture.enlarge(shade, cell)
    if names:
        cells[::cell] = cells[:, ::cell] = picture.FAINT

    sheet = Image.fromarray(table)
    middle = margin + K * cell / 2
    write(sheet, "predicted", middle, 8, anchor="mt")
    write(sheet, "true", 8, middle, anchor="lm", upwards=True)
    for i, name in enumerate(names):
        place = margin + (i + 0.5) * cell
        write(sheet, name, margin - 6, place, anchor="rm")
        write(sheet, name, place, margin - 6, anchor="mb", upwards=widest >= cell)
        for j in np.flatnonzero(counts[i]):
            colour = picture.black_or_white(shade[i, j])
            x = margin + (j + 0.5) * cell
            write(sheet, f"{counts[i, j]:g}", x, place, colour=colour, anchor="mm")
    return np.array(sheet)


def curves(rows, names, *, title=""):
    """Learning curves: for each name a panel over the steps, with a line for each split.

    Args:
        rows: dicts {"step", "split", name: value, ...}, the rows of a run's metrics.jsonl. Values
            that are not finite leave a gap.
        names: of the values to show. A row need not have all.
        title: line above the panels.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: no names, or one that no row has.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = sorted({key for row in rows for key in row} - {"step", "split"})
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known) or known
            raise ValueError(f"no row has {name!r}. Nearest: {', '.join(near) or 'none at all'}.")
    if not names:
        raise ValueError(f"names must hold at least one of {', '.join(known)}.")
    columns = min(len(names), 3)
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(1 + 4 * columns, 3.2 * lines), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title)
    splits = list(dict.fromkeys(row["split"] for row in rows))
    for i, name in enumerate(names):
        panel = figure.add_subplot(lines, columns, i + 1)
        for j, split in enumerate(splits):
            points = [(r["step"], r[name]) for r in rows if r["split"] == split and name in r]
            if points:
                marker = "o" if len(points) < 30 else None  # a lone point shows as well
                panel.plot(*zip(*points), color=f"C{j}", label=split, marker=marker, markersize=3)
        panel.set(title=name, xlabel="step")
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def bars(image, probabilities, class_names, *, label=None, top=5):
    """An image and beside it its likeliest classes with their probabilities.

    Args:
        image: [H, W, 1 or 3] uint8 or float 0..1.
        probabilities: [K] within 0..1.
        class_names: K names.
        label: the true class: its bar is green, the others red; blue all where it is None.
        top: number of classes shown.

    Returns:
        uint8 [H, W, 3].
    """
    from PIL import Image

    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.shape != (len(class_names),):
        raise ValueError(
            f"probabilities must be [{len(class_names)}], one for each of class_names,"
            f" got {list(probabilities.shape)}."
        )
    if not np.all((probabilities >= 0) & (probabilities <= 1 + 1e-3)):
        raise ValueError("probabilities must be within 0..1. Give softmax(logits), not logits.")
    best = np.argsort(-probabilities, kind="stable")[:top]
    row, gap, longest = 34, 12, 220
    tile = fitted(picture.as_picture(image), row * max(len(best), 5))
    left = tile.width + 3 * gap
    size = (left + longest + 64, max(tile.height, row * len(best)) + 2 * gap)
    sheet = Image.new("RGB", size, picture.PAPER)
    sheet.paste(tile, (gap, gap))
    for i, k in enumerate(best):
        y = gap + i * row
        length = round(longest * probabilities[k])
        colour = FULL
        if label is not None:
            colour = picture.RIGHT if k == label else picture.WRONG
        sheet.paste(picture.FAINT, (left, y + 18, left + longest, y + 26))
        sheet.paste(colour, (left, y + 18, left + length, y + 26))
        write(sheet, picture.fit_text(class_names[k], longest), left, y + 8, anchor="lm")
        percent = f"{100 * probabilities[k]:.1f} %"
        write(sheet, percent, left + longest + 8, y + 22, anchor="lm")
    return np.array(sheet)
