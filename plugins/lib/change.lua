-- The same people measured twice, and the difference between two groups of them (formulas: design page "measuring").
-- (Lua only, until the host's stats.* is there.)
local change = {}

local function mean_sd(list)
  local n, sum = #list, 0
  for _, v in ipairs(list) do sum = sum + v end
  local mean, square = sum / n, 0
  for _, v in ipairs(list) do square = square + (v - mean) ^ 2 end
  return mean, n > 1 and math.sqrt(square / (n - 1)) or 0
end

-- 97.5 % quantile of Student's t, by Cornish and Fisher's expansion.
local function t975(df)
  local exact = { 12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281 }
  if exact[df] then return exact[df] end
  local z = 1.959963985
  return z + (z ^ 3 + z) / (4 * df) + (5 * z ^ 5 + 16 * z ^ 3 + 3 * z) / (96 * df ^ 2)
    + (3 * z ^ 7 + 19 * z ^ 5 + 17 * z ^ 3 - 15 * z) / (384 * df ^ 3)
end

local function gains(before, after)
  local out = {}
  for i, v in ipairs(before) do out[i] = after[i] - v end
  return out
end

local function hedges(df) return 1 - 3 / (4 * df - 1) end

-- {n, before = {mean, sd}, after = {mean, sd}, change = {mean, sd, low, high}, d_av, d_z}
function change.describe(before, after)
  local n = #before
  local m1, s1 = mean_sd(before)
  local m2, s2 = mean_sd(after)
  local md, sd = mean_sd(gains(before, after))
  local half = t975(n - 1) * sd / math.sqrt(n)
  local average = math.sqrt((s1 * s1 + s2 * s2) / 2)
  return {
    n = n, before = { mean = m1, sd = s1 }, after = { mean = m2, sd = s2 },
    change = { mean = md, sd = sd, low = md - half, high = md + half },
    d_av = average > 0 and hedges(n - 1) * md / average or nil,
    d_z = sd > 0 and hedges(n - 1) * md / sd or nil,
  }
end

-- How much more the first group changed: Welch's interval, Hedges' g.
function change.difference(before1, after1, before2, after2)
  local m1, s1 = mean_sd(gains(before1, after1))
  local m2, s2 = mean_sd(gains(before2, after2))
  local n1, n2 = #before1, #before2
  local v1, v2 = s1 * s1 / n1, s2 * s2 / n2
  local se = math.sqrt(v1 + v2)
  local df = se > 0 and (v1 + v2) ^ 2 / (v1 * v1 / (n1 - 1) + v2 * v2 / (n2 - 1)) or n1 + n2 - 2
  local half = t975(math.floor(df)) * se
  local pooled = math.sqrt(((n1 - 1) * s1 * s1 + (n2 - 1) * s2 * s2) / (n1 + n2 - 2))
  return { mean = m1 - m2, low = m1 - m2 - half, high = m1 - m2 + half,
    g = pooled > 0 and hedges(n1 + n2 - 2) * (m1 - m2) / pooled or nil }
end

return change
