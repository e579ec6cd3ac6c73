import { execFile } from 'node:child_process'
import { isRoot } from '../run.js'
import { VCAP } from './sandbox.js'

const MOST_OUTPUT_BYTES = 4 * 1024 * 1024

/** Runs a command in the namespaces of a running process, as the user that it runs as. */
export function execInSandbox(
  pid: number,
  command: readonly string[],
  options: { confined: boolean; environment: Record<string, string> },
): Promise<{ exitCode: number; output: string }> {
  const user = ['-S', String(VCAP), '-G', String(VCAP)]
  const enter = ['nsenter', '-t', String(pid), '-m', '-p', '-i', '-u', ...user, '--']
  const drop = isRoot() ? ['setpriv', `--reuid=${VCAP}`, `--regid=${VCAP}`, '--clear-groups', '--'] : []
  const [program = '', ...args] = [...(options.confined ? enter : drop), ...command]
  const env = { PATH: '/usr/local/bin:/usr/bin:/bin', ...options.environment }
  return new Promise((resolve, reject) => {
    execFile(program, args, { env, maxBuffer: MOST_OUTPUT_BYTES }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number')
        reject(new Error(`Could not run ${program}: ${error.message}`, { cause: error }))
      else resolve({ exitCode: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr })
    })
  })
}
