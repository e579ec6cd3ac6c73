export { eventually } from './eventually.js'
export { createTestDatabase, withPostgres, type TestDatabase } from './with-postgres.js'
export { withRedis, type TestRedis } from './with-redis.js'
export { describeWithDocker, dockerAnswers } from './engines.js'
