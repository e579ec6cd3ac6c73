/** Minimum, median and maximum, rounded to milliseconds or three digits. */
export function summary(values: readonly number[]): { min: number; median: number; max: number; runs: number } {
  const sorted = [...values].sort((a, b) => a - b)
  const round = (value: number | undefined) => Math.round((value ?? Number.NaN) * 1000) / 1000
  return {
    min: round(sorted[0]),
    median: round(sorted[Math.floor(sorted.length / 2)]),
    max: round(sorted.at(-1)),
    runs: sorted.length,
  }
}
export const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}
