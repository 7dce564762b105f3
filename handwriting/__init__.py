"""Online handwriting: pen strokes, from files to rows that a model is trained on, and back.

Readers (`iam`, `inkml`, `json_strokes`) give an `ink.Collection` of lines, `preprocessing` makes
rows of each, and `data.strokes` keeps and serves them. `tracing`, `pen_font` and `hand` make lines
without any recording: the letters of fonts as pen paths, and hands that write with them. `render`
draws rows as images, of which `style` takes the style of a writer.

`wrapping` breaks a text into lines, and `page` sets lines of rows on a page, a `drawing.Drawing` in
millimetres, which `formats` writes to files. `alignment` tells which points write which character,
`photo` makes a picture of a photographed line, and `desk` shows the pen in a browser. `writing`
draws lines from a trained model.
"""
