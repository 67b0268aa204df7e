---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- Text as people write it. (text{…} is also the schema of a text.) Sentences with arguments, numbers and plurals are made by require "lib.say".
---@class text
---@overload fun(options?: table): table
text = {}

--- For comparing: small letters, one kind of apostrophe, single spaces. "OʻKTAM" and "o'ktam" become the same.
---@param text string
---@return string
function text.fold(text) end

--- Without white space at both ends.
---@param text string
---@return string
function text.trim(text) end

--- The parts between separators; nothing for an empty text.
---@param text string
---@param separator string
---@return string[]
function text.split(text, separator) end

--- As it should be written: single spaces, oʻ and gʻ (o' and g' become them), ʼ for other apostrophes between letters.
---@param text string
---@return string
function text.tidy(text) end

--- At most so many characters; what was cut ends in "…".
---@param text string
---@param characters integer
---@return string
function text.cut(text, characters) end

--- "a, b and c", in this language.
---@param list string[]
---@param locale? string
---@return string
function text.join(list, locale) end

--- The languages that it lacks, of uz, uz-Cyrl, ru, en.
---@param translated table
---@return string[]
function text.missing(translated) end

--- How many characters.
---@param text string
---@return integer
function text.length(text) end

--- The text in this language, or in the next best.
---@param translated table|string|nil
---@param locale? string
---@return string?
function text.pick(translated, locale) end

--- "01.09.2026", "1/9/2026" or "2026-09-01" as "2026-09-01"; nil when it is no date.
---@param text string
---@return string?
function text.match_date(text) end

--- Reads a table as spreadsheet programs write it; separator and encoding are found out.
---@param bytes string
---@param options? {separator: string?}
---@return {rows: {line: integer, cells: string[]}[], encoding: string}
function text.csv(bytes, options) end

