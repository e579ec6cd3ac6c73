export { createRedis, type Redis } from './connection.js'
export { Nudges } from './nudges.js'
export { SharedSlots, type SlotAnswer } from './shared-slots.js'
export { consumeStaging, StageBuild, StagingQueue } from './staging-queue.js'
