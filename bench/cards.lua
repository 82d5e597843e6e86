-- Asks for random known cards and prints the result as one line of JSON after the word RESULT.
-- From the environment: BENCH_ORDERS, BENCH_PREFIX, BENCH_SUFFIX, BENCH_TOKEN, BENCH_SEED. Ids as in bench/cards.py.

local orders = tonumber(os.getenv("BENCH_ORDERS"))
local head = "GET " .. os.getenv("BENCH_PREFIX") .. "card-"
local tail

function init()
  math.randomseed(tonumber(os.getenv("BENCH_SEED") or "1"))
  tail = os.getenv("BENCH_SUFFIX") .. " HTTP/1.1\r\nHost: " .. wrk.host .. "\r\nAccept: application/json\r\n"
    .. "Authorization: Bearer " .. (os.getenv("BENCH_TOKEN") or "none") .. "\r\n\r\n"
end

function request()
  local number = math.random(0, orders - 1)
  return head .. string.format("%010.0f", number * 1103515245 % 4294967296) .. tail
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"microseconds":%d,"bytes":%d,"p50":%d,"p99":%d,"longest":%d,'
      .. '"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
