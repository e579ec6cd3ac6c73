/** 2006-01-02T15:04:05.00-0700, in the local time zone. */
export function localTime(nanoseconds: bigint): string {
  const date = new Date(Number(nanoseconds / 1_000_000n))
  const offset = -date.getTimezoneOffset()
  const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, 22)
  const two = (value: number): string => String(Math.trunc(Math.abs(value))).padStart(2, '0')
  return `${local}${offset < 0 ? '-' : '+'}${two(offset / 60)}${two(offset % 60)}`
}

/** "Mon 02 Jan 15:04:05 UTC 2006", as cf shows when something was uploaded. */
export function friendlyDate(text: string): string {
  const date = new Date(text)
  if (Number.isNaN(date.getTime())) return text
  const parts = new Intl.DateTimeFormat('en-GB', {
    weekday: 'short',
    day: '2-digit',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
  }).formatToParts(date)
  const of = (type: string): string => parts.find((part) => part.type === type)?.value ?? ''
  return `${of('weekday')} ${of('day')} ${of('month')} ${of('hour')}:${of('minute')}:${of('second')} ${of('timeZoneName')} ${of('year')}`
}
