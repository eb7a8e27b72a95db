"""Names and words of the made-up shop."""

from __future__ import annotations

from typing import Any, NamedTuple


class Article(NamedTuple):
    """What a product form is filled with."""

    sku: str
    name: str
    price: str
    category: str
    description: str
    tags: str
    attributes: dict[str, Any]


CATEGORIES = {
    "Notebooks": "Bound paper to write in, from pocket size to A4.",
    "Ink": "Bottled ink for fountain pens and for calligraphy.",
    "Fountain pens": "Pens that are filled, cleaned and kept.",
    "Pencils": "Graphite and coloured pencils, and what sharpens them.",
    "Paper": "Loose sheets, pads and envelopes.",
    "Desk": "Lamps, trays and other things that stay on the desk.",
    "Bags": "For carrying all of it.",
    "Gifts": "Sets and small things that are easy to wrap.",
}

ARTICLES = (
    Article("NB-001", "Field notebook A6", "7.90", "Notebooks", "Stitched; its linen cover survives a coat pocket.",
            "linen, pocket", {"size": "A6", "pages": 96, "paper": {"gsm": 80, "ruling": "dotted"}}),
    Article("NB-002", "Meeting book A5", "14.50", "Notebooks", "Numbered pages and an index at the front.",
            "office", {"size": "A5", "pages": 192, "paper": {"gsm": 90, "ruling": "lined"}}),
    Article("NB-003", "Studio sketchbook A4", "22.00", "Notebooks", "Heavy paper for pencil and light washes.",
            "drawing", {"size": "A4", "pages": 120, "paper": {"gsm": 160, "ruling": "blank"}}),
    Article("NB-004", "Travel journal", "18.90", "Notebooks", "With a pocket for tickets and an elastic band.",
            "travel, pocket", {"size": "A5", "pages": 160, "paper": {"gsm": 90, "ruling": "dotted"}}),
    Article("NB-005", "Music book A4", "12.40", "Notebooks", "Twelve staves a page.",
            "music", {"size": "A4", "pages": 64, "paper": {"gsm": 100, "ruling": "staves"}}),
    Article("NB-006", "Lab book, grid", "16.80", "Notebooks", "Numbered, with room for a witness's signature.",
            "office, science", {"size": "A4", "pages": 144, "paper": {"gsm": 90, "ruling": "grid"}}),
    Article("INK-01", "Harbour blue ink 50 ml", "9.80", "Ink", "A quiet blue that dries with a hint of grey.",
            "blue", {"ml": 50, "waterproof": False, "colour": "blue"}),
    Article("INK-02", "Moss green ink 50 ml", "9.80", "Ink", "Shades from olive to forest.",
            "green", {"ml": 50, "waterproof": False, "colour": "green"}),
    Article("INK-03", "Rust ink 50 ml", "10.50", "Ink", "Warm orange-brown, good for corrections.",
            "orange", {"ml": 50, "waterproof": False, "colour": "orange"}),
    Article("INK-04", "Document black ink 50 ml", "12.90", "Ink", "Permanent, light-fast. Rinse the pen every month.",
            "black, permanent", {"ml": 50, "waterproof": True, "colour": "black"}),
    Article("INK-05", "Sample set, six inks", "19.50", "Ink", "Six vials of 5 ml to try.",
            "set", {"ml": 30, "waterproof": False, "vials": 6}),
    Article("FP-001", "Student fountain pen", "17.90", "Fountain pens", "Light, sturdy, with a steel nib.",
            "steel", {"nib": ["F", "M"], "filling": "cartridge"}),
    Article("FP-002", "Larch fountain pen", "49.00", "Fountain pens", "Turned from larch wood, no two are alike.",
            "wood", {"nib": ["F", "M", "B"], "filling": "converter"}),
    Article("FP-003", "Piston pen, clear", "72.00", "Fountain pens", "Holds 1.8 ml; you see how much is left.",
            "piston", {"nib": ["EF", "F", "M"], "filling": "piston"}),
    Article("FP-004", "Calligraphy set", "34.50", "Fountain pens", "One pen, four nibs from 1.1 to 2.9 mm.",
            "set", {"nib": ["1.1", "1.5", "1.9", "2.9"], "filling": "cartridge"}),
    Article("FP-005", "Pocket pen, brass", "58.00", "Fountain pens", "Grows full size when the cap is on the end.",
            "brass, pocket", {"nib": ["F", "M"], "filling": "cartridge"}),
    Article("PC-001", "Drawing pencils, set of 12", "16.20", "Pencils", "From 6H to 8B in a tin.",
            "drawing, set", {"grades": 12, "core_mm": 2.2}),
    Article("PC-002", "Colour pencils, set of 24", "27.90", "Pencils", "Wax based, light-fast, easy to blend.",
            "drawing, set", {"colours": 24, "core_mm": 3.3}),
    Article("PC-003", "Carpenter's pencil", "1.60", "Pencils", "Flat, so that it stays where it is put.",
            "workshop", {"length_mm": 180}),
    Article("PC-004", "Brass sharpener", "6.40", "Pencils", "Two holes, blades can be changed.",
            "brass", {"holes": 2}),
    Article("PC-005", "Soft eraser", "1.20", "Pencils", "Leaves the paper as it was.",
            "drawing", {"colour": "white"}),
    Article("PC-006", "Clutch pencil 2 mm", "11.70", "Pencils", "With a sharpener in the push button.",
            "drawing", {"lead_mm": 2.0}),
    Article("PA-001", "Writing pad A5, cream", "5.60", "Paper", "Fifty sheets that take fountain pen ink.",
            "letters", {"size": "A5", "sheets": 50, "gsm": 100}),
    Article("PA-002", "Envelopes C6, cream, 25", "6.20", "Paper", "Lined with tissue.",
            "letters", {"size": "C6", "pieces": 25}),
    Article("PA-003", "Watercolour block", "29.00", "Paper", "Cotton paper, cold pressed, glued on four sides.",
            "drawing", {"size": "24x32", "sheets": 20, "gsm": 300}),
    Article("PA-004", "Tracing paper roll", "13.30", "Paper", "Twenty metres.",
            "drawing, office", {"width_cm": 33, "metres": 20}),
    Article("PA-005", "Index cards, 100", "4.40", "Paper", "Lined on one side.",
            "office", {"size": "A7", "pieces": 100}),
    Article("DK-001", "Desk lamp, oak", "89.00", "Desk", "Dims, and remembers how bright it was.",
            "wood, light", {"watt": 9, "kelvin": [2700, 4000]}),
    Article("DK-002", "Pen tray, felt", "12.80", "Desk", "Pens don't roll on it.",
            "felt", {"width_cm": 24}),
    Article("DK-003", "Blotting roller", "21.50", "Desk", "Beech handle, ten strips included.",
            "wood", {"strips": 10}),
    Article("DK-004", "Letter scales", "31.00", "Desk", "To 500 grams, no battery needed.",
            "brass, letters", {"max_g": 500}),
    Article("DK-005", "Wall calendar, undated", "15.90", "Desk", "Begins whenever you do.",
            "office", {"months": 12}),
    Article("BG-001", "Pen roll, canvas", "24.90", "Bags", "Room for eight pens, ties with a strap.",
            "canvas", {"pens": 8}),
    Article("BG-002", "Document bag", "64.00", "Bags", "Waxed canvas, fits A4 and a thin computer.",
            "canvas, office", {"litres": 9}),
    Article("BG-003", "Drawing folder A3", "27.50", "Bags", "Board covers, three flaps.",
            "drawing", {"size": "A3"}),
    Article("GF-001", "Letter writer's box", "44.00", "Gifts", "Paper, envelopes, wax and a seal.",
            "letters, set", {"parts": ["paper", "envelopes", "wax", "seal"]}),
    Article("GF-002", "First pen set", "29.90", "Gifts", "The student pen, blue ink and a notebook.",
            "set", {"parts": ["pen", "ink", "notebook"]}),
    Article("GF-003", "Sealing wax, three sticks", "8.70", "Gifts", "Red, blue and green.",
            "letters", {"colours": ["red", "blue", "green"]}),
)  # fmt: skip

#: What is written instead of the first description of some products.
BETTER_DESCRIPTIONS = {
    "NB-001": "Stitched; its linen cover survives a coat pocket. The last 16 pages tear out.",
    "INK-04": "Permanent and light-fast, good for signatures. Rinse the pen every month.",
    "FP-002": "Turned from larch wood grown within 60 km of the workshop; no two are alike.",
    "FP-003": "Holds 1.8 ml, enough for forty pages; you see how much is left.",
    "PC-002": "Wax based, light-fast and easy to blend. Single pencils can be ordered again.",
    "PA-003": "Cotton paper, cold pressed, glued on four sides so that it stays flat.",
    "DK-001": "Dims from 5 to 100 percent, and remembers how bright it was.",
    "BG-002": "Waxed canvas, fits A4 and a 14 inch computer. Can be waxed again.",
    "GF-001": "Paper, envelopes, wax and a seal with the initial of your choice.",
    "NB-006": "Numbered pages, with room for date and a witness's signature on each.",
}

FIRST_NAMES = ("Marta", "Jonas", "Aylin", "Piet", "Rosa", "Henrik", "Leila", "Tomás", "Greta", "Kwame", "Mina", "Oskar",
               "Fatima", "Luca", "Elif", "Bram", "Nora", "Viktor", "Amara", "Jules")  # fmt: skip
LAST_NAMES = ("Keller", "Novak", "Demir", "van Dijk", "Marino", "Sørensen", "Haddad", "Reyes", "Lind", "Mensah", "Kato",
              "Brandt", "Silva", "Ferrari", "Aydin", "de Wit", "Björk", "Petrov", "Diallo", "Moreau")  # fmt: skip
STREETS = ("Mill Lane", "Harbour Street", "Station Road", "Birch Avenue", "Market Square", "Canal Street", "Hill Road")
CITIES = ("Utrecht", "Aarhus", "Ghent", "Bremen", "Malmö", "Trieste", "Porto", "Graz", "Lyon", "Brno")

ORDER_NOTES = (
    "",
    "",
    "",
    "Gift wrap, please.",
    "Deliver to the neighbour.",
    "Invoice to the firm.",
    "Call first.",
)
CANCEL_REASONS = ("Customer changed their mind", "Payment did not arrive", "Ordered twice by mistake")
RAISE_REASONS = ("", "", "Supplier raised the price", "Sale is over", "Sale is over", "Better paper", "Dearer freight")
CUT_REASONS = ("", "", "Supplier cut the price", "Spring sale", "Spring sale", "Matched a competitor", "Slow seller")
REVIEW_NOTES = ("", "Invoice and delivery note agree.", "Discount is within the limit.")
QUESTIONS = ("Price of one item is below cost.", "Delivery note is missing.", "Quantity was changed after payment.")
CUSTOMER_NOTES = (
    "Prefers e-mail.",
    "Pays by invoice, 14 days.",
    "Teacher, ten percent off.",
    "Collects in the shop.",
)
