import { describe, expect, it } from '@jest/globals'
import { findMemoryVictim } from './memory-victim.js'

const LOG = `
[1.0] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=abc,mems_allowed=0,oom_memcg=/docker/abc,task_memcg=/docker/abc,task=python3,pid=4711,uid=2000
[1.1] Memory cgroup out of memory: Killed process 4711 (python3) total-vm:640000kB, anon-rss:130000kB, file-rss:0kB, shmem-rss:0kB, UID:2000
[2.0] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=def,mems_allowed=0,oom_memcg=/docker/def,task_memcg=/docker/def,task=java,pid=4712,uid=2000
[2.1] Memory cgroup out of memory: Killed process 4712 (java) total-vm:9000000kB, anon-rss:130000kB, file-rss:0kB, shmem-rss:0kB, UID:2000
[3.0] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task_memcg=/user,task=x,pid=1,uid=0
[3.1] Out of memory: Killed process 1 (x) total-vm:1kB`

describe('the process that the kernel ended for want of memory', () => {
  it("is found in its own group's lines alone", () => {
    expect(findMemoryVictim(LOG, (path) => path.includes('abc'))).toEqual({ process: 'python3', wantedMb: 625 })
    expect(findMemoryVictim(LOG, (path) => path.includes('def'))).toEqual({ process: 'java', wantedMb: 8790 })
    expect(findMemoryVictim(LOG, () => false)).toBeUndefined()
    expect(findMemoryVictim('', () => true)).toBeUndefined()
  })
})
