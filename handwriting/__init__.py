"""Online handwriting: recorded pen strokes, from files to rows that a model is trained on.

Readers (`iam`, `inkml`, `json_strokes`) give an `ink.Collection` of lines, `preprocessing` makes
rows of each, and `data.strokes` keeps and serves them. `tracing`, `pen_font` and `hand` make lines
without any recording: the letters of fonts as pen paths, and hands that write with them. `render`
draws rows as images, of which `style` takes the style of a writer.
"""
