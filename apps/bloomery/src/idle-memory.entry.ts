import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

// Preloaded into roles of a single machine. V8 collects when memory is asked for, so a process that has become quiet keeps
// the garbage of its busy time (half of what it holds after its start). Here the machine is shared with the apps: a process
// that is quiet and has grown is collected, some 50 ms of work that nobody waits for.

const LOOK_EVERY_MS = 5_000
const QUIET_CPU_SHARE = 0.05
const WORTH_BYTES = 6 * 1024 * 1024

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

let cpu = process.cpuUsage()
let kept = 0
setInterval(() => {
  const { user, system } = process.cpuUsage(cpu)
  cpu = process.cpuUsage()
  const quiet = (user + system) / 1000 < LOOK_EVERY_MS * QUIET_CPU_SHARE
  if (!quiet || heldBytes() < kept + WORTH_BYTES) return
  collect()
  kept = heldBytes()
}, LOOK_EVERY_MS).unref()

function heldBytes(): number {
  const { heapTotal, external } = process.memoryUsage()
  return heapTotal + external
}
