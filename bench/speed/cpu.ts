import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks per second in `/proc`, on every Linux that Node.js supports. */
const TICKS = 100
/** Positions in `/proc/<pid>/stat` after the name of the program (proc(5), counted from 0). */
const PARENT = 1
const USER_TIME = 11
const SYSTEM_TIME = 12

/** Returns the numbers of the CPUs that this process may use. */
function allowedCpus(): number[] {
  const [, list = ''] = /Cpus_allowed_list:\s+(\S+)/.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}

/** The CPU of the servers and the CPU of the load. They are the same one on a machine that has no other. */
export const [SERVER_CPU = 0, LOAD_CPU = SERVER_CPU] = allowedCpus()

/** A command that runs on one CPU only. */
export const onCpu = (cpu: number, command: string[]): string[] => ['taskset', '-c', String(cpu), ...command]

/** Moves this process, with all its threads, to one CPU. */
export function moveToCpu(cpu: number): void {
  execFileSync('taskset', ['-acp', String(cpu), String(process.pid)])
}

function stat(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** Returns the CPU time of a process in microseconds. */
function cpuTime(pid: number): number {
  const fields = stat(pid)
  return ((Number(fields[USER_TIME]) + Number(fields[SYSTEM_TIME])) / TICKS) * 1e6
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return Number(stat(pid)[PARENT]) === parent
      } catch {
        return false // it has ended since
      }
    })
}

/** Returns the CPU time of a process and its living children in microseconds. */
export const cpuTimeOfFamily = (pid: number): number =>
  [pid, ...childrenOf(pid)].reduce((sum, each) => sum + cpuTime(each), 0)

/** Returns the resident memory of a process in MB. */
export function residentMegabytes(pid: number): number {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Math.round(Number(kilobytes) / 1000)
}
