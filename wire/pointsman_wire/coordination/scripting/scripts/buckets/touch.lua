-- Ask how a bucket is; everything it does is in bucket.lua.
--
-- -> 'done', generation, counter, state
return {'done', generation, counter, state}
