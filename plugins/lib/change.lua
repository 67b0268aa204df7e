-- The same people measured twice, and the difference between two groups of them (by the host's stats).
local change = {}

-- {n, before = {mean, sd}, after = {mean, sd}, change = {mean, sd, low, high}, d_av, d_z}
function change.describe(before, after)
  local out = stats.paired(before, after)
  if out.n < 10 then out.t, out.p = nil, nil end -- so few: the table, no p value
  return out
end

local function gains(before, after)
  local out = {}
  for i, v in ipairs(before) do out[i] = after[i] - v end
  return out
end

-- How much more the first group changed: {mean, low, high, g} with Welch's interval.
function change.difference(before1, after1, before2, after2)
  local out = stats.welch(gains(before1, after1), gains(before2, after2))
  return { mean = out.mean, low = out.low, high = out.high, g = out.g }
end

return change
