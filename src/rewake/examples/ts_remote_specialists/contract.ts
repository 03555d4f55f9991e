/*
 * What crosses the border between the two languages: the JSON of specialists.py, as types and as checks.
 */

import type { Context } from "@restatedev/restate-sdk";
import { z } from "zod";

export const Claim = z.object({ customer: z.string(), text: z.string() });
export const Answer = z.object({ text: z.string(), invocations: z.array(z.string()) });
export type Claim = z.infer<typeof Claim>;
export type Answer = z.infer<typeof Answer>;

/** The services of specialists.py. Each has this one handler. */
export type Specialist = { answer: (ctx: Context, claim: Claim) => Promise<Answer> };
export const specialists = {
  MedicalSpecialist: "Handles injuries, hospital stays, treatment and medication.",
  CarSpecialist: "Handles accidents, theft and damage to vehicles.",
};
export type SpecialistName = keyof typeof specialists;
