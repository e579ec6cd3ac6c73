import { readFileSync } from 'node:fs'
import { GATE_CONFIG_FILE, runGate, type GateConfig } from '@bloomery/mongo-gate'

// One process per instance: the gate, which starts the server behind it. Its only word is the instance's folder.
const log = (line: string): void => console.log(`${new Date().toISOString()} ${line}`)
process.chdir(process.argv[2] ?? '.')
const stop = await runGate(JSON.parse(readFileSync(GATE_CONFIG_FILE, 'utf8')) as GateConfig, log)
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    void stop().finally(() => process.exit(0))
  })
