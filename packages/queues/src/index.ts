export { createRedis, type Redis } from './connection.js'
export { Nudges } from './nudges.js'
export { consumeStaging, StageBuild, StagingQueue } from './staging-queue.js'
