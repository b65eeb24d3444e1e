-- ARGV: seconds, then jobs. Their bodies are still arriving: their API lives.
for i = 2, #ARGV do call('ZADD', UPLOADS, 'XX', NOW + ARGV[1] * 1000, ARGV[i]) end
return #ARGV - 1
