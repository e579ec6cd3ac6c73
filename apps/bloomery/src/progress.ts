/** Shows the steps of a start: drawn on a terminal, plain lines elsewhere. */
export interface Step {
  readonly title: string
  run(say: (line: string) => void): Promise<void>
}

/** Runs groups of steps, the steps of a group side by side. The drawing library is loaded where there is a terminal only. */
export async function runSteps(groups: readonly (readonly Step[])[], drawn: boolean): Promise<void> {
  if (!drawn) {
    for (const group of groups) await settle(group.map(runPlainly))
    return
  }
  const { Listr } = await import('listr2')
  const asTask = (step: Step) => ({
    title: step.title,
    task: (_context: unknown, task: { output: string }) =>
      step.run((line) => {
        task.output = line
      }),
  })
  const tasks = groups.map((group) => {
    const [only] = group
    if (only && group.length === 1) return asTask(only)
    return {
      title: group.map(({ title }) => title).join(', '),
      task: (_context: unknown, outer: { newListr: (tasks: unknown[], options: object) => unknown }) =>
        outer.newListr(group.map(asTask), { concurrent: true, exitOnError: true }),
    }
  })
  await new Listr(tasks as never, { rendererOptions: { collapseSubtasks: true } }).run()
}

async function runPlainly(step: Step): Promise<void> {
  const since = Date.now()
  let said = ''
  await step.run((line) => {
    if (line !== said) console.log(`  ${step.title}: ${line}`)
    said = line
  })
  console.log(`- ${step.title} (${((Date.now() - since) / 1000).toFixed(1)} s)`)
}

/** All come to an end before the first failure is thrown, so that nothing goes on in the background while we stop. */
async function settle(running: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(running)) if (result.status === 'rejected') throw result.reason
}
