-- Changes what is named here; everything else stays as in the layer below, when that gets a new version, too.
local base = inherit()

-- For example: base.title = { en = "…", uz = "…", ["uz-Cyrl"] = "…", ru = "…" }

return base
