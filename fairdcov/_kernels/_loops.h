/* The innermost loops of the kernels: plain C on contiguous doubles, compiled several times over for the vector
   units of the day and chosen at run time (GNU ifunc), so that one portable wheel is fast everywhere.
   Elsewhere the same source is compiled once for the baseline. */

#ifndef FAIRDCOV_LOOPS_H
#define FAIRDCOV_LOOPS_H

#include <math.h>
#include <stddef.h>

#if !defined(FAIRDCOV_ONE_VERSION) && defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#if __GNUC__ >= 12
#define FAIRDCOV_DISPATCH __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FAIRDCOV_DISPATCH __attribute__((target_clones("default", "avx2", "avx512f")))
#endif
#else
#define FAIRDCOV_DISPATCH
#endif

#define FAIRDCOV_LANES 8

/* Eight partial sums in a fixed order: vectorisable without permission to reassociate. */
#define FAIRDCOV_FOLD(p) (((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7])))

/* Sum of a[k] * b[k]; `size` is a multiple of FAIRDCOV_LANES (the caller pads with zeros). */
FAIRDCOV_DISPATCH
static double fairdcov_padded_dot(const double *a, const double *b, ptrdiff_t size)
{
    double partial[FAIRDCOV_LANES] = {0};
    for (ptrdiff_t k = 0; k < size; k += FAIRDCOV_LANES)
        for (int lane = 0; lane < FAIRDCOV_LANES; ++lane)
            partial[lane] += a[k + lane] * b[k + lane];
    return FAIRDCOV_FOLD(partial);
}

/* target[k] += scale * values[k]; `size` is a multiple of FAIRDCOV_LANES. */
FAIRDCOV_DISPATCH
static void fairdcov_add_scaled(double *restrict target, const double *restrict values, double scale, ptrdiff_t size)
{
    for (ptrdiff_t k = 0; k < size; k += FAIRDCOV_LANES)
        for (int lane = 0; lane < FAIRDCOV_LANES; ++lane)
            target[k + lane] += scale * values[k + lane];
}

/* One block's factor of W in row i, columns start .. start + width:
       product[j] *= half[i] + half[j] - scale * |points_i - points_j|
   with points stored one dimension after the other (dims, n) and `distance` a scratch row. */
FAIRDCOV_DISPATCH
static void fairdcov_block_factor(const double *points, ptrdiff_t n, ptrdiff_t dims, const double *half, double scale,
                                  ptrdiff_t i, ptrdiff_t start, ptrdiff_t width, double *restrict distance,
                                  double *restrict product)
{
    const double half_i = half[i];
    const double *half_j = half + start;
    if (dims == 1) {
        const double x = points[i];
        const double *row = points + start;
        for (ptrdiff_t j = 0; j < width; ++j)
            product[j] *= half_i + half_j[j] - scale * fabs(x - row[j]);
        return;
    }
    for (ptrdiff_t j = 0; j < width; ++j)
        distance[j] = 0.0;
    ptrdiff_t d = 0;
    for (; d + 4 <= dims; d += 4) { /* four dimensions for each load and store of the running sum */
        const double *p = points + d * n;
        const double x0 = p[i], x1 = p[n + i], x2 = p[2 * n + i], x3 = p[3 * n + i];
        const double *r0 = p + start, *r1 = r0 + n, *r2 = r1 + n, *r3 = r2 + n;
        for (ptrdiff_t j = 0; j < width; ++j)
            distance[j] += ((x0 - r0[j]) * (x0 - r0[j]) + (x1 - r1[j]) * (x1 - r1[j]))
                         + ((x2 - r2[j]) * (x2 - r2[j]) + (x3 - r3[j]) * (x3 - r3[j]));
    }
    for (; d < dims; ++d) {
        const double x = points[d * n + i];
        const double *row = points + d * n + start;
        for (ptrdiff_t j = 0; j < width; ++j)
            distance[j] += (x - row[j]) * (x - row[j]);
    }
    for (ptrdiff_t j = 0; j < width; ++j)
        product[j] *= half_i + half_j[j] - scale * sqrt(distance[j]);
}

/* Adds a row of W to both of its ends: sums[j] += q_i W_j, returned sum = sum_j q_j W_j. */
FAIRDCOV_DISPATCH
static double fairdcov_add_pairs(const double *q, double q_i, const double *product, ptrdiff_t width,
                                 double *restrict sums)
{
    double partial[FAIRDCOV_LANES] = {0};
    ptrdiff_t j = 0;
    for (; j + FAIRDCOV_LANES <= width; j += FAIRDCOV_LANES)
        for (int lane = 0; lane < FAIRDCOV_LANES; ++lane) {
            partial[lane] += q[j + lane] * product[j + lane];
            sums[j + lane] += q_i * product[j + lane];
        }
    for (; j < width; ++j) {
        partial[j % FAIRDCOV_LANES] += q[j] * product[j];
        sums[j] += q_i * product[j];
    }
    return FAIRDCOV_FOLD(partial);
}

/* Asks for a cache line ahead of its use: the sweeps visit rows in the order of u, at random places in memory. */
#if defined(__GNUC__) || defined(__clang__)
#define FAIRDCOV_PREFETCH(address) __builtin_prefetch(address)
#else
#define FAIRDCOV_PREFETCH(address) ((void)(address))
#endif
#define FAIRDCOV_AHEAD 24

#endif
