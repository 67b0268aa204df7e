---@meta
-- Written by `hamroh worker --meta`; not by hand.

-- In plugins/questionnaires.

--- Questions, how they are scored, and what the answers mean.
---@param declaration {id: string, title: table, source: string, sensitive: boolean?, audience: string[]?, minutes: integer?, intro: table?, stem: table?, items: table[], pages: string[][]?, show_if: table<string, function>?, scales: table?, bands: table?, alert: function?, result: function?, tests: table?}
---@return table
function questionnaire(declaration) end

--- A sentence with steps of agreement. key: the scale it counts for.
---@param item {[1]: string, [2]: table, key: string?, required: boolean?, note: table?, scale: table, reverse: boolean?}
---@return table
function likert(item) end

--- One of some options { value, text, score = n }.
---@param item {[1]: string, [2]: table, key: string?, required: boolean?, note: table?, options: table[], many: boolean?}
---@return table
function choice_item(item) end

--- Yes (1) or no (0).
---@param item {[1]: string, [2]: table, key: string?, required: boolean?, note: table?, reverse: boolean?}
---@return table
function yes_no(item) end

--- A number.
---@param item {[1]: string, [2]: table, key: string?, required: boolean?, note: table?, min: number?, max: number?, whole: boolean?, unit: string?}
---@return table
function number_item(item) end

--- A text in one's own words.
---@param item {[1]: string, [2]: table, key: string?, required: boolean?, note: table?, max: integer?, lines: integer?}
---@return table
function text_item(item) end

--- A scale that is the mean of its items; min_answered: the part that must be answered, 0.8 unless said.
---@param options? {min_answered: number?, title: table?, note: any}
---@return table
function mean(options) end

--- A scale that is the sum of its items, prorated when something is missing.
---@param options? {min_answered: number?, title: table?, note: any}
---@return table
function sum(options) end

--- A test: these answers give these scores.
---@param expected {answers: table, gives: table<string, number>?, bands: table<string, string>?}
---@return function
function scored(expected) end

--- Strongly disagree (1) to strongly agree (5).
---@type table
agree5 = nil

--- Not difficult at all (1) to extremely difficult (5).
---@type table
difficulty5 = nil

--- Very inaccurate (1) to very accurate (5).
---@type table
accuracy5 = nil

--- Not at all (0) to nearly every day (3).
---@type table
frequency4 = nil

