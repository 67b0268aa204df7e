-- Scoring of questionnaires. Raw answers are kept as they were given; reversing happens here: min + max - x. A scale of k items is
-- scored when at least ceil(f * k) of them are answered: the mean of what was answered, or the sum k * mean (prorated when something
-- is missing). Bands are looked up on floor(sum + 0.5), for means on the mean itself.
local scoring = {}

-- The number an answer counts as, or nil when there is none.
local function value_of(item, answer)
  if answer == nil or answer == store.null then return nil end
  if item.type == "choice" then
    for _, option in ipairs(item.options) do
      if option.value == answer then return option.score or (type(answer) == "number" and answer or nil) end
    end
    return nil
  end
  if type(answer) ~= "number" then return nil end
  if item.reverse then return item.scale.min + item.scale.max - answer end
  return answer
end

local function shown(form, item, answers)
  local show = form.show_if and form.show_if[item.id]
  return not show or show(answers) and true or false
end

local function band_of(list, value)
  for _, band in ipairs(list) do
    if not band.below or value < band.below then return band[1], band end
  end
end

-- {scores = {scale = number}, bands = {scale = name}, scales = {scale = {k, answered, min_answered, mean, sum, prorated}}}. A scale that
-- too few items of were answered has no score: it is not available, never 0. Items that were not shown do not count.
function scoring.score(form, answers)
  local out = { scores = {}, bands = {}, scales = {} }
  local parts = {}
  for _, item in ipairs(form.items) do
    if item.key and shown(form, item, answers) then
      local part = parts[item.key] or { k = 0, answered = 0, total = 0 }
      parts[item.key] = part
      part.k = part.k + 1
      local value = value_of(item, answers[item.id])
      if value then
        part.answered = part.answered + 1
        part.total = part.total + value
      end
    end
  end
  for key, scale in pairs(form.scales or {}) do
    local part = parts[key] or { k = 0, answered = 0, total = 0 }
    local need = math.max(1, math.ceil(scale.min_answered * part.k - 1e-9))
    local one = { k = part.k, answered = part.answered, min_answered = need }
    if part.k > 0 and part.answered >= need then
      one.mean = part.total / part.answered
      one.prorated = part.answered < part.k
      one.sum = one.prorated and one.mean * part.k or part.total
      out.scores[key] = scale.method == "mean" and one.mean or one.sum
      local bands = form.bands and form.bands[key]
      if bands then
        out.bands[key] = band_of(bands, scale.method == "mean" and one.mean or math.floor(one.sum + 0.5))
      end
    end
    out.scales[key] = one
  end
  return out
end

return scoring
