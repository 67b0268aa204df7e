---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- The plugin's log.
---@class log
log = {}

--- A line for the plugin's log. No personal data; 100 lines a call, one more ends it.
---@param text string
function log.info(text) end

--- The same, as a warning.
---@param text string
function log.warn(text) end

