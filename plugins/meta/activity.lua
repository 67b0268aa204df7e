---@meta
-- Written by `hamroh worker --meta`; not by hand.

-- In plugins/activities.

--- A kind of thing that people do together.
---@param declaration {id: string, title: table, icon: string?, fields: table<string, table>?, entry: table<string, table>?, stages: string[], stage_titles: table?, roles: table?, on_register: function?, on_stage: function?, score: function?, rank: function?, outcome: function?, tests: table?}
---@return table
function activity(declaration) end

