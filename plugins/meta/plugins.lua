---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- What other plugins declare.
---@class plugins
plugins = {}

--- All active declarations of a kind: service, matcher, activity, questionnaire, report.
---@param kind string
---@return table[]
function plugins.all(kind) end

--- One of them, or nil.
---@param kind string
---@param id string
---@return table?
function plugins.get(kind, id) end

